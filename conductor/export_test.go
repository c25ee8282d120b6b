package conductor

// The engine's decisions, for the model.
var (
	Next     = next
	Admit    = admit
	Conclude = conclude
)

// Move is how a conductor goes on with a step from its record.
type Move = move

// The moves.
const (
	MoveRun    = moveRun
	MoveSettle = moveSettle
	MoveNone   = moveNone
)

// NoMark is the mark of a command that is no power command.
var NoMark powerMark
