"""What the attacks that rewrite whole texts (syntactic, LWS, BITE) are built of: words, candidates, rules, searches.

The attacks themselves stand one floor up, `lib.attacks.syntactic`, `lws` and `bite`.
"""
