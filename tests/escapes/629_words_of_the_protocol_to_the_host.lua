-- expect: 200 body="contained"
-- binding: probe
for _, words in ipairs{ "R\0response", "P\0\4\0\0\0done", "\0\0\0\0", "\xff\xff\xff\xff", "D\0", ("C\1"):rep(70000) } do
  assert(probe("probe.echo", words) == words)
  assert(select("#", probe("probe.echo", words, "", words)) == 3)
end
return "contained"
