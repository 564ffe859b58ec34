-- expect: 599 body="edge"
return { status = 599, body = "edge" }
