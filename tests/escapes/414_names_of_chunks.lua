-- expect: script-error detail~"x"
-- A chunk may be called as it likes: it is words only, and no file is read for it.
for _, name in ipairs{ "@/etc/passwd", "=prelude/host", "=[C]", "@main.lua", "\0", ("="):rep(100000), "" } do
  local done, reason = pcall(load("error('x')", name))
  assert(not done and #reason < 200)
end
load("error('x')", "=prelude/host")()
