-- expect: 200 body="contained"
-- binding: probe
local fits = 2 * 1024 * 1024 - #"probe.echo" - 2 * 4
assert(#probe("probe.echo", ("x"):rep(fits)) == fits)
local done, reason = pcall(probe, "probe.echo", ("x"):rep(fits + 1))
if done or not reason:find("2097153 bytes are more than a host call may carry (2097152)", 1, true) then return reason end
done, reason = pcall(probe, "probe.echo", ("x"):rep(30 * 1024 * 1024))
return not done and type(reason) == "string" and probe("probe.echo", "contained") or "?"
