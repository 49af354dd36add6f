# Aliases of dev.py, for those who like make: make start ARGS="--port 7072"
PYTHON ?= python3

.PHONY: start test check conformance chaos bench profile azurite install
start test check conformance chaos bench profile azurite install:
	@$(PYTHON) dev.py $@ $(ARGS)
