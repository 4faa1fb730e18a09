package repair

// What the tests outside of the package try by itself.
var (
	LagrangeDisplacement = lagrangeDisplacement
	Spread               = spread
)

func SolveExact(p Problem) (Result, bool) {
	r, _, ok := solveExact(p)
	return r, ok
}

func SolveSearch(p Problem) Result {
	r, _ := solveSearch(p)
	return r
}
