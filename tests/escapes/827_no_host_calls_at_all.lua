-- expect: script-error detail~"over the limit of 1 host calls"
-- limits: host_calls=1
-- binding: probe
probe("probe.echo", "x")
coroutine.wrap(function() probe("probe.echo", "x") end)()
