-- expect: 200 body="contained" log="line 500"
-- binding: probe
for i = 1, 500 do
  log.info("line " .. i)
  assert(probe("probe.echo", "x" .. i) == "x" .. i)
end
return "contained"
