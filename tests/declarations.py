"""The route tables, as the applications have them, without anything being built: for what they declare."""

from picloud.api import apps
from picloud.dashboard.front import Front

ROUTES = apps.every_path(Front)
