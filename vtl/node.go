package vtl

// NodeKind tells what a [Node] is.
type NodeKind uint8

// The kinds of nodes. What stands in Text and Kids is said with each.
const (
	BlockNode     NodeKind = iota // Kids: the contents
	TextNode                      // Text: printed as it is
	ReferenceNode                 // Text: the root's name; Kids: PropertyNode, MethodNode, IndexNode
	PropertyNode                  // Text: the name
	MethodNode                    // Text: the name; Kids: the arguments
	IndexNode                     // Kids: the index
	SetNode                       // Kids: target (ReferenceNode), value
	IfNode                        // Kids: condition, block, condition, block, …, and a last block for #else
	ForeachNode                   // Text: the variable; Kids: what is iterated, block
	BreakNode                     // Kids: none, or the scope to leave
	StopNode
	DefineNode   // Text: the variable; Kids: block
	MacroNode    // Text: the name; Kids: ReferenceNodes of the parameters, then the block
	CallNode     // a macro call, Text: the name; Kids: the arguments, and with Body set a last block
	EvaluateNode // Kids: the expression
	StringNode   // Text: the contents; Kids: a block when it is interpolated
	IntegerNode  // Text: digits
	FloatNode    // Text: digits
	BoolNode     // Text: true or false
	NullNode     // a bare word as an argument
	ListNode     // Kids: the items
	MapNode      // Kids: key, value, key, value, …
	RangeNode    // Kids: first, last
	BinaryNode   // Text: the operator ("+", "==", "&&", …); Kids: left, right
	NotNode      // Kids: the operand
)

// Node is a piece of a parsed template. It is read-only.
type Node struct {
	Kind         NodeKind
	Line, Column int // where it begins, from 1; a column counts bytes
	Text         string
	Source       string // of a reference or macro call: as written
	Quiet        bool   // of a reference: $!name
	Body         bool   // of a call: #@name … #end
	Kids         []*Node
}

// Walk calls visit for the template's nodes, parents before their kids. Where visit returns false the kids are
// left out.
func (t *Template) Walk(visit func(*Node) bool) { walk(t.root, visit) }

func walk(n *Node, visit func(*Node) bool) {
	if !visit(n) {
		return
	}
	for _, kid := range n.Kids {
		walk(kid, visit)
	}
}
