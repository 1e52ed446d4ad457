package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Value turns a Go value into a parameter: nil, bool, int, int64, float64, string and []byte.
// It panics on anything else, and on text that is not UTF-8, which json.Marshal would change in silence.
func Value(value any) any {
	switch v := value.(type) {
	case nil, bool:
		return v
	case int:
		return Value(int64(v))
	case int64:
		if v >= 1<<53 || v <= -1<<53 {
			return map[string]string{"$int": strconv.FormatInt(v, 10)}
		}
		return v
	case float64:
		switch {
		case math.IsInf(v, 1):
			return map[string]string{"$real": "Infinity"}
		case math.IsInf(v, -1):
			return map[string]string{"$real": "-Infinity"}
		case v == 0 && math.Signbit(v):
			return map[string]string{"$real": "-0"}
		case v == math.Trunc(v): // 2.0 is the same JSON number as 2: untagged it would be stored as INTEGER
			return map[string]float64{"$real": v}
		}
		return v // NaN as well, which json.Marshal refuses
	case []byte:
		return map[string]string{"$blob": base64.StdEncoding.EncodeToString(v)}
	case string:
		if utf8.ValidString(v) {
			return v
		}
	}
	panic(fmt.Sprintf("%T cannot be stored, or is text that is not UTF-8", value))
}

// Values makes positional parameters.
func Values(values ...any) []any {
	out := make([]any, len(values))
	for i, value := range values {
		out[i] = Value(value)
	}
	return out
}

// decodeCell turns a cell as json.Decoder with UseNumber gave it into nil, int64, float64, string or []byte.
func decodeCell(cell any) (any, error) {
	switch value := cell.(type) {
	case json.Number:
		if strings.ContainsAny(value.String(), ".eE") {
			return value.Float64()
		}
		return value.Int64()
	case map[string]any:
		for tag, content := range value {
			text, _ := content.(string)
			switch tag {
			case "$int":
				return strconv.ParseInt(text, 10, 64)
			case "$real":
				return strconv.ParseFloat(text, 64)
			case "$blob":
				return base64.StdEncoding.DecodeString(text)
			}
		}
	case nil, string:
		return value, nil
	}
	return nil, fmt.Errorf("a cell is no SQL value: %v", cell)
}
