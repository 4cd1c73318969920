"""A HOME that nothing of a person's is in."""

from infra.toolchain.folders import BUILD

# Not a path that is missing: root's commands would create it, as uv does for its cache.
NOBODYS = str(BUILD / "nobodys-home")
