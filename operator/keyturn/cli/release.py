"""``keyturn release``: lets go of all Secrets, before CRDs are deleted."""

import asyncio
import os
from pathlib import Path

import click

from keyturn.cli.needs import listed, need
from keyturn.cli.trail import about_actor, recorded
from keyturn.flow.audit import audited
from keyturn.model.audit import AuditEntry
from keyturn.model.errors import KeyturnError
from keyturn.model.ids import SecretRef

TAKEN_BACK_S = 2.0


class NothingFound(KeyturnError):
    """Nothing of ours is where the command was told to look."""


@click.command()
@click.option("-A", "--all-namespaces", is_flag=True, help="In all namespaces.")
@click.option("-n", "--namespace", multiple=True, help="In this namespace; may be given again.")
@click.option(
    "--kubeconfig", envvar="KUBECONFIG", show_envvar=True, default="", help="The kubeconfig to use; without it, the one that kubectl uses."
)
@click.option("--context", default="", help="The context in the kubeconfig; without it, the current one.")
def release(*, all_namespaces: bool, namespace: tuple[str, ...], kubeconfig: str, context: str) -> None:
    """Take our ownerReferences off all Secrets, so that they stay when ManagedSecrets go.

    Data and marks stay as they are: an operator that is installed again takes the Secrets back.
    Refuses while an operator runs, and says which command stops it.
    """
    # An empty name would mean all namespaces, and comes from an unset variable of a shell.
    if all_namespaces == bool(namespace) or not all(listed((name,)) for name in namespace):
        message = "say where: -A for all namespaces, or -n NAMESPACE"
        raise click.UsageError(message)
    namespaces = listed(namespace)
    released, others = asyncio.run(_release(namespaces, _kubeconfig(kubeconfig), context))
    if namespaces and not released and not others:
        raise NothingFound(f"no Secret of Keyturn's is in {', '.join(namespaces)}, so nothing was released; is the name right?")
    what = f"ManagedSecrets of {', '.join(namespaces)}" if namespaces else "ManagedSecrets and CRDs"
    more = f", and {others} more had no owner of ours" if others else ""
    click.echo(f"released {released} Secrets{more}; {what} can be deleted now, and the Secrets stay")


def _kubeconfig(given: str) -> str:
    """The file that kubectl would take: a person at a prompt means the cluster that kubectl means."""
    if given:
        return given.split(os.pathsep, maxsplit=1)[0]
    usual = Path.home() / ".kube" / "config"
    return str(usual) if usual.exists() else ""


async def _release(namespaces: tuple[str, ...], kubeconfig: str, context: str) -> tuple[int, int]:
    need("operator", "keyturn release")
    from keyturn.kube import release as releasing
    from keyturn.kube.client import Client
    from keyturn.kube.config import load

    client = Client(load(kubeconfig, context))
    released: list[SecretRef] = []
    others = 0
    try:
        if not await releasing.check_stopped(client, namespaces):
            click.echo("you may not list Deployments of the cluster: make sure yourself that no operator serves these namespaces", err=True)
        where = ", ".join(namespaces) or "all namespaces"
        entry = AuditEntry("secret.release", f"user {os.getuid()}", where, "cli", details=about_actor())
        async with recorded() as log, audited(log, entry) as result:
            try:
                async for one in releasing.release(client, namespaces):
                    if one.was_ours:
                        released.append(one.ref)
                        click.echo(f"released {one.ref}")
                    else:
                        others += 1
            finally:
                result.details = {"released": str(len(released))}
        if released:
            # An operator takes a Secret back in less than a second, so that after two it can be told.
            await asyncio.sleep(TAKEN_BACK_S)
        if back := await releasing.taken_back(client, released):
            raise releasing.OperatorRuns(
                f"{back} was taken back at once: an operator runs that is no Deployment of this cluster; stop it, then run this again"
            )
    finally:
        await client.close()
    return len(released), others
