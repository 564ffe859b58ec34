-- expect: 200 header.content-length="1000"
-- limits: response_bytes=1000
return { ("x"):rep(996) }
