-- expect: memory-limit or cpu-limit
-- because: which is first depends on how fast its text grows
-- limits: memory_bytes=16777216 cpu_ms=1000
-- binding: probe
local dag = { "x" }
for _ = 1, 60 do dag = { dag, dag } end
return probe_json("probe.echo", dag)
