package config

import "strings"

// Suggest returns the candidate that word was probably meant to be, or "". One that
// word is the beginning of comes first.
func Suggest(word string, candidates []string) string {
	const enough = 4 // octets, for a beginning
	for _, c := range candidates {
		if len(word) >= enough && strings.HasPrefix(fold(c), fold(word)) {
			return c
		}
	}
	best, bestDistance := "", 1+len(word)/3
	for _, c := range candidates {
		d := distance(fold(word), fold(c))
		if d < bestDistance || d == bestDistance && best == "" {
			best, bestDistance = c, d
		}
	}
	return best
}

// fold drops what people get wrong without noticing: case and underscores.
func fold(s string) string { return strings.ReplaceAll(strings.ToLower(s), "_", "") }

// distance is the number of octets to insert, remove, replace or swap with the
// neighbour to get from a to b.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			replace := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			d := min(rows[i-1][j]+1, rows[i][j-1]+1, replace)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, rows[i-2][j-2]+1)
			}
			rows[i][j] = d
		}
	}
	return rows[len(a)][len(b)]
}

// didYouMean is the end of an error about an unknown word.
func didYouMean(word string, candidates []string) string {
	// A word that long is no slip, and the distance costs its square.
	if len(word) <= 64 {
		if s := Suggest(word, candidates); s != "" {
			return "; did you mean '" + s + "'?"
		}
	}
	return ": " + strings.Join(candidates, ", ")
}
