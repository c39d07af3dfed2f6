package front

import (
	"net/http"
)

// A hooked is a ResponseWriter that changes the header just before it leaves.
type hooked struct {
	http.ResponseWriter
	before func(status int) // of the header but those of 1xx
	wrote  bool
}

func (h *hooked) WriteHeader(status int) {
	if !h.wrote && (status >= 200 || status == http.StatusSwitchingProtocols) {
		h.wrote = true
		h.before(status)
	}
	h.ResponseWriter.WriteHeader(status)
}

func (h *hooked) Write(p []byte) (int, error) {
	if !h.wrote {
		h.WriteHeader(http.StatusOK)
	}
	return h.ResponseWriter.Write(p)
}

// FlushError is for [http.ResponseController].
func (h *hooked) FlushError() error {
	if !h.wrote {
		h.WriteHeader(http.StatusOK)
	}
	return http.NewResponseController(h.ResponseWriter).Flush()
}

// Unwrap is for [http.ResponseController].
func (h *hooked) Unwrap() http.ResponseWriter { return h.ResponseWriter }
