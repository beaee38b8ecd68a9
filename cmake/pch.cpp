// Empty on purpose: carries the precompiled header.
