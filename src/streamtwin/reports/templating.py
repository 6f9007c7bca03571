"""How does a template become a page?"""

from jinja2 import Environment, PackageLoader, StrictUndefined


def fill(template: str, **content: object) -> str:
    """The page that *template* makes of *content*, whose texts are escaped."""
    environment = Environment(
        loader=PackageLoader("streamtwin.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**content)
