"""Findings in sentences, one module each: a sentence made from the numbers, its caveat and its picture."""
