-- expect: 200 body="ok" log="edges"
log.info("edges", { a = 1e308, b = 5e-324, c = math.mininteger, d = -0.0, e = json.null, f = json.array{}, g = {}, [""] = "" })
return "ok"
