-- expect: timeout detail="exceeded the wall clock limit of 200 ms"
-- limits: wall_ms=200
return function() while true do end end
