-- expect: cpu-limit
-- limits: cpu_ms=100
::again::
goto again
