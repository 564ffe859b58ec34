"""What schemathesis cannot know of our bodies: Lua that compiles."""

import schemathesis
from hypothesis import strategies as st

LUA = st.text(max_size=40).map(lambda text: f"return [====[{text}]====]".encode(errors="replace"))

schemathesis.openapi.media_type(
    "text/x-lua", LUA, aliases=("text/plain", "application/octet-stream", "application/x-www-form-urlencoded")
)
