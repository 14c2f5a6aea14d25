"""`make bench`: what Keyturn costs, measured on a control plane of its own and held against a budget.

Needs the developer's environment (`make setup`), unlike controlplane/.
"""
