-- expect: script-error detail~"jobs.send: over the limit of 50 host calls"
-- limits: host_calls=50
while true do jobs.send("escape") end
