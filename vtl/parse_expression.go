package vtl

// level is one step of precedence: its operators, symbols before words, longer ones first.
type level []operator

type operator struct{ symbol, word, name string }

// levels, from the loosest to the tightest.
var levels = []level{
	{{"||", "or", "||"}},
	{{"&&", "and", "&&"}},
	{{"==", "eq", "=="}, {"!=", "ne", "!="}},
	{{"<=", "le", "<="}, {">=", "ge", ">="}, {"<", "lt", "<"}, {">", "gt", ">"}},
	{{"+", "", "+"}, {"-", "", "-"}},
	{{"*", "", "*"}, {"/", "", "/"}, {"%", "", "%"}},
}

// expression reads operands and operators up to what can't go on.
func (p *parser) expression() (*Node, error) {
	if err := p.nest(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	return p.binary(0)
}

func (p *parser) binary(l int) (*Node, error) {
	if l == len(levels) {
		return p.unary()
	}
	left, err := p.binary(l + 1)
	if err != nil {
		return nil, err
	}
	for terms := 0; ; terms++ {
		p.space()
		at := p.pos
		name, ok := p.operator(levels[l])
		if !ok {
			return left, nil
		}
		if terms >= maxTerms {
			return nil, p.errorAt(at, "an expression of more than %d terms", maxTerms)
		}
		right, err := p.binary(l + 1)
		if err != nil {
			return nil, err
		}
		left = p.node(BinaryNode, at, left, right)
		left.Text = name
	}
}

// maxTerms bounds a chain of operators: each term is a level of closures.
const maxTerms = 1000

func (p *parser) operator(ops level) (string, bool) {
	for _, op := range ops {
		if p.at(op.symbol) {
			after := p.pos + len(op.symbol)
			if op.symbol == "-" && after < len(p.src) && (digit(p.src[after]) || p.src[after] == '.') {
				return "", false // the sign of a literal
			}
			p.pos = after
			return op.name, true
		}
		if op.word != "" && p.at(op.word) {
			after := p.pos + len(op.word)
			if after >= len(p.src) || !identifierPart(p.src[after]) {
				p.pos = after
				return op.name, true
			}
		}
	}
	return "", false
}

func (p *parser) unary() (*Node, error) {
	if err := p.nest(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	p.space()
	from := p.pos
	not := 0
	switch {
	case p.at("!") && !p.at("!="):
		not = 1
	case p.at("not") && (p.pos+3 >= len(p.src) || !identifierPart(p.src[p.pos+3])):
		not = 3
	}
	if not == 0 {
		return p.primary(true)
	}
	p.pos += not
	operand, err := p.unary()
	if err != nil {
		return nil, err
	}
	return p.node(NotNode, from, operand), nil
}
