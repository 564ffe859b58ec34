"""One exchange of the API: what comes in is read and checked here, what goes out is written here.

`endpoint` is what a responder declares of itself, `reading` its query and bodies, `writing` its answer.
Times are RFC 3339 in UTC, sizes in bytes, durations in ms. A list is `{"items": […], "next": CURSOR or null}`.
Knows nothing of what a resource means.
"""
