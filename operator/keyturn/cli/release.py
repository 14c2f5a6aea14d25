"""``keyturn release``: lets go of all Secrets, before CRDs are deleted."""

import asyncio

import click


@click.command()
@click.option("-A", "--all-namespaces", is_flag=True, help="In all namespaces.")
@click.option("-n", "--namespace", multiple=True, help="In this namespace; may be given again.")
@click.option("--kubeconfig", envvar="KUBECONFIG", show_envvar=True, default="", help="The kubeconfig to use.")
@click.option("--context", default="", help="The context in the kubeconfig; without it, the current one.")
def release(*, all_namespaces: bool, namespace: tuple[str, ...], kubeconfig: str, context: str) -> None:
    """Take our ownerReferences off all Secrets, so that they stay when ManagedSecrets go.

    Data and marks stay as they are: an operator that is installed again takes the Secrets back.
    Refuses while an operator runs, and says which command stops it.
    """
    if all_namespaces == bool(namespace):
        message = "say where: -A for all namespaces, or -n NAMESPACE"
        raise click.UsageError(message)
    released, looked_at = asyncio.run(_release(namespace, kubeconfig, context))
    click.echo(f"released {released} of {looked_at} Secrets; ManagedSecrets and CRDs can be deleted now, and the Secrets stay")


async def _release(namespaces: tuple[str, ...], kubeconfig: str, context: str) -> tuple[int, int]:
    from keyturn.cli.needs import need_operator

    need_operator("keyturn release")
    from keyturn.kube import release as releasing
    from keyturn.kube.client import Client
    from keyturn.kube.config import load

    client = Client(load(kubeconfig, context))
    released = looked_at = 0
    try:
        await releasing.check_stopped(client)
        async for one in releasing.release(client, namespaces):
            looked_at += 1
            released += one.was_ours
            if one.was_ours:
                click.echo(f"released {one.ref}")
    finally:
        await client.close()
    return released, looked_at
