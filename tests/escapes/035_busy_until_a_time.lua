-- expect: timeout
-- limits: wall_ms=200
return function()
  local until_then = os.time() + 3600
  while os.time() < until_then do end
  return "an hour"
end
