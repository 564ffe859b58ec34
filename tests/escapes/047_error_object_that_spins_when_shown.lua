-- expect: script-error
-- limits: cpu_ms=500
-- The words of an error are found without any metamethod of the script's.
error(setmetatable({ why = "x" }, {
  __tostring = function() while true do end end,
  __index = function() while true do end end,
  __name = "odd",
}))
