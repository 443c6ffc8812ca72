module github.com/faceprint/faceprint

go 1.26.0
