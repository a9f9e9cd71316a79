"""What both systems continue."""

# Tokens of SmolLM2's vocabulary: a prompt of a few words, so that nearly all the time goes to the
# new tokens.
PROMPT = [504, 24331, 436, 5000, 281, 260, 3221, 282]
NEW_TOKENS = 256
