-- expect: 200 header.set-cookie="a=1; HttpOnly" header.set-cookie="b=2" body="fine"
return { headers = { ["set-cookie"] = { "a=1; HttpOnly", "b=2" } }, body = "fine" }
