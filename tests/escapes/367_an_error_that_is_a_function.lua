-- expect: script-error detail="(error object is a function value)"
error(print)
