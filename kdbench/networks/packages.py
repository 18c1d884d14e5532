"""Networks of other packages: entry points of the group `kdbench.models`, imported when a suite names one of them.

[project.entry-points."kdbench.models"]
my_net = "my_package.networks"        the network's name with timm, and the module that registers it when imported
"""

from __future__ import annotations

import importlib

import timm

from kdbench.errors import KdbenchError
from kdbench.plugins import Plugin, list_plugins
from kdbench.source import modules_sha256
from kdbench.suite import Suite

GROUP = "kdbench.models"


def list_networks() -> dict[str, list[Plugin]]:
    """The networks that packages register, by name, not imported; more than one under a name is a conflict."""
    return list_plugins(GROUP)


def is_registered(name: str) -> bool:
    """Whether timm has a network of this name, once the package that registers it is imported.

    Raises:
        KdbenchError: two packages register it, or the one that does cannot be imported or does not register it.
    """
    if timm.is_model(name):
        return True
    plugins = list_networks().get(name.partition(".")[0], [])
    if len(plugins) > 1:
        both = " and ".join(map(str, plugins))
        raise KdbenchError(f"Network '{name}' is registered twice: {both}. Uninstall one of the packages.")
    for plugin in plugins:
        try:
            importlib.import_module(plugin.entry_point.module)
        except (Exception, SystemExit) as error:  # whatever a package does wrong
            said = " ".join(f"{type(error).__name__}: {error}".split())
            raise KdbenchError(f"Network {plugin} cannot be imported: {said}") from error
        if not timm.is_model(name):
            raise KdbenchError(f"Network {plugin} is not usable: importing it registers no '{name}' with timm.")
    return bool(plugins)


def with_sources(suite: Suite) -> Suite:
    """The suite with the hashes of the code of other packages' networks: they are in all its keys then.

    Raises:
        KdbenchError: as `is_registered`.
    """
    plugins = list_networks()
    models = {
        name: spec.model_copy(update={"source_sha256": modules_sha256((plugins[base][0].entry_point.module,))})
        for name, spec in suite.models.items()
        if (base := spec.name.partition(".")[0]) in plugins and is_registered(spec.name)
    }
    return suite.model_copy(update={"models": {**suite.models, **models}}) if models else suite
