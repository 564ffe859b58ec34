-- expect: 200 body="handler"
-- request: method="POST" target="?after=work" header.content-type="application/cloudevents+json" header.ce-after="work" body="{\"after\":\"work\",\"trigger\":\"job\"}"
function work() error("called from outside") end
request.trigger, request.event = "job", { after = "work" }
return function() return "handler" end
