"""A real control plane on this machine without Docker: etcd, kube-apiserver and kube-controller-manager.

Standard library only, so that it runs before anything is installed.
"""
