-- expect: script-error log~"script-error"
error("\0\xed\xa0\x80\xf4\x90\x80\x80" .. ("\0"):rep(100000), 0)
