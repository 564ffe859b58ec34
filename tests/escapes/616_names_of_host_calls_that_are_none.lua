-- expect: sandbox-crash
-- binding: probe
-- The prelude's bindings say only names that there are: who says another has gone around them.
return probe("../../etc/passwd", "x")
