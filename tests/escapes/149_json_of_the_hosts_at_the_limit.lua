-- expect: memory-limit
-- limits: memory_bytes=4194304
-- binding: probe
return #probe_json("probe.echo", { ("x"):rep(900000), ("y"):rep(900000), ("z"):rep(100000) })
