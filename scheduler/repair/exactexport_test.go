package repair

// What the tests outside of the package try by itself.
var (
	SolveExact           = solveExact
	SolveSearch          = solveSearch
	LagrangeDisplacement = lagrangeDisplacement
)
