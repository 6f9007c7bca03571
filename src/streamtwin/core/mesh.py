"""Over which link does a rank send to another, and on which host does it stand?

`None` stands for the hops of the ranks' own profile: cards of one kind on one host, as calibrated.
"""

from collections.abc import Sequence
from itertools import accumulate, combinations

from streamtwin.core import catalog
from streamtwin.core.catalog import GpuSpec, LinkSpec
from streamtwin.core.errors import ScenarioError, UserError
from streamtwin.core.protocol import Layout


def host_of(layout: Layout, rank: int) -> int:
    """Number of the host on which *rank* stands."""
    ends = accumulate(layout.hosts or [layout.gpus])
    return next(host for host, end in enumerate(ends) if rank < end)


def cards_of(layout: Layout) -> tuple[GpuSpec, ...]:
    """The card of every rank of the fleet; none where the scenario names no cards.

    Raises:
        ScenarioError: a card that is not in the catalogue.
    """
    cards: list[GpuSpec] = []
    for place, each in enumerate(layout.fleet):
        try:
            cards += [catalog.gpu(each.gpu)] * each.count
        except UserError as error:
            raise ScenarioError(f"deployment.gpus.{place}.gpu = {each.gpu!r}: {error}") from error
    return tuple(cards)


def link_between(layout: Layout, cards: Sequence[GpuSpec], one: int, other: int) -> LinkSpec | None:
    """The link on which rank *one* sends to *other*, of those that the scenario names or implies.

    *cards* has the card of every rank, or nothing where they are not known.
    """
    links = layout.links
    if (pair := links.pairs.get(f"{one}-{other}")) is not None:
        return catalog.link(pair)
    if host_of(layout, one) != host_of(layout, other):
        assert links.hosts is not None, "check_mesh asks for it"
        return catalog.link(links.hosts)
    if links.cards is not None:
        return catalog.link(links.cards)
    if not layout.fleet or cards[one] == cards[other]:
        return None
    return slowest([catalog.link(cards[rank].link) for rank in (one, other)])


def slowest(links: Sequence[LinkSpec]) -> LinkSpec:
    """The one of *links* with the least bandwidth."""
    return min(links, key=lambda link: (link.bytes_per_s, -link.latency_s))


def link_among(layout: Layout, cards: Sequence[GpuSpec], members: range) -> LinkSpec | None:
    """The slowest link that the scenario names or implies among the *members* of a stage."""
    pairs = [link_between(layout, cards, *pair) for pair in combinations(members, 2)]
    named = [link for link in pairs if link is not None]
    return slowest(named) if named else None


def check_mesh(layout: Layout) -> None:
    """Refuse cards and links that nobody knows, and hosts that nothing joins.

    Raises:
        ScenarioError: names the key, its value and the legal choices.
    """
    cards_of(layout)
    links = layout.links
    named = {"cards": links.cards, "hosts": links.hosts}
    named |= {f"pairs.{pair}": name for pair, name in links.pairs.items()}
    for key, name in named.items():
        if name is not None and name not in catalog.names("links"):
            raise ScenarioError(
                f"deployment.links.{key} = {name!r}: choose one of "
                f"{', '.join(catalog.names('links'))}"
            )
    if layout.hosts is not None and len(layout.hosts) > 1 and links.hosts is None:
        between = [name for name in catalog.names("links") if catalog.link(name).between == "hosts"]
        raise ScenarioError(
            f"deployment.hosts = {layout.hosts}: say in deployment.links.hosts what joins them, "
            f"for example one of {', '.join(between)}"
        )
    for pair in links.pairs:
        if any(int(rank) >= layout.gpus for rank in pair.split("-")):
            raise ScenarioError(
                f"deployment.links.pairs.{pair}: with deployment.gpus = {layout.gpus} ranks are "
                f"numbered 0 to {layout.gpus - 1}"
            )
