module github.com/cannedos/cannedos

go 1.26.0

require (
	github.com/anishathalye/porcupine v1.3.1 // indirect
	github.com/lmittmann/tint v1.2.1 // indirect
	github.com/stretchr/testify v1.12.1 // indirect
	golang.org/x/time v0.16.0 // indirect
)
