package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// mutant is a file with one change: bytes from up to to are replaced by text.
type mutant struct {
	file     string // relative to the module
	function string // in which it is, or ""
	line     int
	from, to int
	text     string
	column   int    // from where on the line's text begins
	what     string // the change in words
	source   string // the line without what is around it
}

// name says which mutant it is, as survivors.txt has it. It has no line number: those
// change too often.
func (m *mutant) name() string {
	return fmt.Sprintf("%s %s | %s | %d: %s", m.file, m.function, m.source, m.column, m.what)
}

// apply returns the changed text of the file.
func (m *mutant) apply(source []byte) []byte {
	return slices.Concat(source[:m.from], []byte(m.text), source[m.to:])
}

// swaps says what becomes of an operator.
var swaps = map[token.Token][]token.Token{
	token.EQL: {token.NEQ}, token.NEQ: {token.EQL},
	token.LSS: {token.LEQ, token.GEQ}, token.LEQ: {token.LSS, token.GTR},
	token.GTR: {token.GEQ, token.LEQ}, token.GEQ: {token.GTR, token.LSS},
	token.LAND: {token.LOR}, token.LOR: {token.LAND},
	token.ADD: {token.SUB}, token.SUB: {token.ADD}, token.MUL: {token.QUO}, token.QUO: {token.MUL},
	token.REM: {token.MUL}, token.AND: {token.OR}, token.OR: {token.AND}, token.XOR: {token.AND},
	token.AND_NOT: {token.AND}, token.SHL: {token.SHR}, token.SHR: {token.SHL},
	token.ADD_ASSIGN: {token.SUB_ASSIGN}, token.SUB_ASSIGN: {token.ADD_ASSIGN},
	token.MUL_ASSIGN: {token.QUO_ASSIGN}, token.QUO_ASSIGN: {token.MUL_ASSIGN},
	token.AND_ASSIGN: {token.OR_ASSIGN}, token.OR_ASSIGN: {token.AND_ASSIGN},
	token.AND_NOT_ASSIGN: {token.OR_ASSIGN}, token.SHL_ASSIGN: {token.SHR_ASSIGN},
	token.SHR_ASSIGN: {token.SHL_ASSIGN}, token.INC: {token.DEC}, token.DEC: {token.INC},
	token.BREAK: {token.CONTINUE}, token.CONTINUE: {token.BREAK},
}

// mutants returns all mutants of a package, in the order of its text.
func mutants(root, dir string) ([]mutant, error) {
	names, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
	if err != nil {
		return nil, err
	}
	var all []mutant
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		relative, err := filepath.Rel(root, name)
		if err != nil {
			return nil, err
		}
		m := maker{fset: token.NewFileSet(), file: relative, text: text}
		tree, err := parser.ParseFile(m.fset, name, text, 0)
		if err != nil {
			return nil, err
		}
		for _, decl := range tree.Decls {
			m.declaration(decl)
		}
		all = append(all, m.made...)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("nothing to change in %s", dir)
	}
	return all, nil
}

// maker makes the mutants of one file.
type maker struct {
	fset     *token.FileSet
	file     string
	text     []byte
	function string
	results  []string // types of what the function returns
	made     []mutant
}

func (m *maker) offset(p token.Pos) int { return m.fset.Position(p).Offset }

func (m *maker) of(n ast.Node) string { return string(m.text[m.offset(n.Pos()):m.offset(n.End())]) }

// make notes a mutant: the text from one place to another becomes this one.
func (m *maker) make(from, to token.Pos, text, what string) {
	at := m.fset.Position(from)
	source, _, _ := strings.Cut(string(m.text[at.Offset-at.Column+1:]), "\n")
	indent := len(source) - len(strings.TrimLeft(source, "\t"))
	m.made = append(m.made, mutant{file: m.file, function: m.function, line: at.Line, column: at.Column - indent,
		from: at.Offset, to: m.offset(to), text: text, what: what, source: strings.TrimSpace(source)})
}

func (m *maker) declaration(decl ast.Decl) {
	m.function = ""
	switch d := decl.(type) {
	case *ast.GenDecl:
		if d.Tok != token.IMPORT && d.Tok != token.TYPE {
			ast.Inspect(d, m.visit)
		}
	case *ast.FuncDecl:
		if d.Body == nil {
			return
		}
		m.function = d.Name.Name
		m.results = nil
		if d.Type.Results != nil {
			for _, field := range d.Type.Results.List {
				for range max(len(field.Names), 1) {
					m.results = append(m.results, m.of(field.Type))
				}
			}
		}
		ast.Inspect(d.Body, m.visit)
	}
}

func (m *maker) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.FuncLit:
		outer := m.results
		m.results = nil // what it returns is left alone
		ast.Inspect(n.Body, m.visit)
		m.results = outer
		return false
	case *ast.BinaryExpr:
		m.swap(n.OpPos, n.Op)
	case *ast.UnaryExpr:
		if n.Op == token.NOT {
			m.make(n.OpPos, n.X.Pos(), "", "without !")
		}
	case *ast.BasicLit:
		m.number(n)
	case *ast.Ident:
		if flipped := map[string]string{"true": "false", "false": "true"}[n.Name]; flipped != "" {
			m.make(n.Pos(), n.End(), flipped, n.Name+" to "+flipped)
		}
	case *ast.IfStmt:
		m.condition(n.Cond)
	case *ast.ForStmt:
		if n.Cond != nil {
			m.make(n.Cond.Pos(), n.Cond.End(), "false && ("+m.of(n.Cond)+")", "never")
		}
	case *ast.CaseClause:
		m.clause(n)
	case *ast.ReturnStmt:
		m.returned(n)
	case ast.Stmt:
		m.statement(n)
	}
	return true
}

func (m *maker) swap(at token.Pos, op token.Token) {
	for _, other := range swaps[op] {
		m.make(at, at+token.Pos(len(op.String())), other.String(), op.String()+" to "+other.String())
	}
}

func (m *maker) condition(c ast.Expr) {
	m.make(c.Pos(), c.End(), "false && ("+m.of(c)+")", "never")
	m.make(c.Pos(), c.End(), "true || ("+m.of(c)+")", "always")
}

// clause leaves out what a case does, and has a case of a condition never hold.
func (m *maker) clause(c *ast.CaseClause) {
	if len(c.Body) > 0 {
		m.make(c.Body[0].Pos(), c.Body[len(c.Body)-1].End(), "", "empty case")
	}
	for _, e := range c.List {
		switch e.(type) {
		case *ast.BinaryExpr, *ast.UnaryExpr, *ast.CallExpr:
			m.make(e.Pos(), e.End(), "false && ("+m.of(e)+")", "never")
		}
	}
}

func (m *maker) number(n *ast.BasicLit) {
	if n.Kind == token.INT {
		m.make(n.Pos(), n.End(), "("+n.Value+"+1)", n.Value+"+1")
		if v, err := strconv.ParseInt(n.Value, 0, 64); err != nil || v > 0 {
			m.make(n.Pos(), n.End(), "("+n.Value+"-1)", n.Value+"-1")
		}
	}
}

// returned changes what is returned to another value of its type.
func (m *maker) returned(s *ast.ReturnStmt) {
	if len(s.Results) != len(m.results) {
		return
	}
	for i, e := range s.Results {
		old, other := m.of(e), ""
		switch t := m.results[i]; {
		case t == "bool":
			other = "!(" + old + ")"
		case strings.HasPrefix(t, "int") || strings.HasPrefix(t, "uint"):
			other = "(" + old + ")+1"
		case old == "nil":
		case t == "error" || strings.HasPrefix(t, "*") || strings.HasPrefix(t, "[]"):
			other = "nil"
		}
		if other != "" && old != "true" && old != "false" {
			m.make(e.Pos(), e.End(), other, "return "+strings.ReplaceAll(other, old, "…"))
		}
	}
}

// statement leaves a statement out, or swaps its operator.
func (m *maker) statement(s ast.Stmt) {
	switch s := s.(type) {
	case *ast.AssignStmt:
		m.swap(s.TokPos, s.Tok)
		if s.Tok == token.DEFINE {
			return
		}
	case *ast.IncDecStmt:
		m.swap(s.TokPos, s.Tok)
	case *ast.BranchStmt:
		if s.Label == nil {
			m.swap(s.TokPos, s.Tok)
		}
	case *ast.ExprStmt, *ast.DeferStmt:
	default:
		return
	}
	first, _, _ := strings.Cut(m.of(s), "\n")
	m.make(s.Pos(), s.End(), "", "left out: "+first)
}
