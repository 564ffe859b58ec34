"""The page at `/`: what runs here, for whoever signs in with a token.

    session  a cookie that opens this page and nothing else
    page     HTML of what there is to show; page.css: how it looks
    shapes   the same as JSON, and the forms
    sign_in  who is asking: the form, the cookie, other sites
    front    the resource: what they may see, and in which form

Rendered by the server, without scripts, and without anything from elsewhere.
"""
