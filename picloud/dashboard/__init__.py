"""The page at `/`: what runs here, for whoever signs in with a token.

    session  a cookie that opens this page and nothing else
    page     HTML of what there is to show; page.css: how it looks
    shapes   the same as JSON, and the forms
    front    the resource: who is asking, what they may see

Rendered by the server, without scripts, and without anything from elsewhere.
"""
