"""HTML pages as trees."""

from html.parser import HTMLParser

VOID = {'meta', 'img', 'link', 'br', 'hr'}


class Node:
    """An element with its attributes, its children and the text below it."""

    def __init__(self, tag, attrs, parent):
        self.tag, self.attrs, self.parent, self.children, self.pieces = tag, dict(attrs), parent, [], []

    @property
    def text(self):
        return ''.join(piece if isinstance(piece, str) else piece.text for piece in self.pieces)

    def walk(self):
        for child in self.children:
            yield child
            yield from child.walk()

    def find(self, tag, kind=None):
        """Return all elements below with this tag and, if given, this class."""
        found = [node for node in self.walk() if node.tag == tag]
        return [node for node in found if kind is None or kind in (node.attrs.get('class') or '').split()]


class Parser(HTMLParser):
    """Build the tree, and check that every element is closed in order."""

    def __init__(self):
        super().__init__()
        self.root = self.node = Node('root', (), None)

    def handle_starttag(self, tag, attrs):
        node = self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.node = node

    def handle_startendtag(self, tag, attrs):
        node = Node(tag, attrs, self.node)
        self.node.children.append(node)
        self.node.pieces.append(node)
        return node

    def handle_endtag(self, tag):
        assert tag == self.node.tag, f'</{tag}> closes <{self.node.tag}>'
        self.node = self.node.parent

    def handle_data(self, data):
        self.node.pieces.append(data)


def parse(text):
    """Return the root node of HTML text."""
    parser = Parser()
    parser.feed(text)
    parser.close()
    assert parser.node is parser.root, f'<{parser.node.tag}> is never closed'
    return parser.root


def tables(page):
    """Return the heading of each section with a table, and its lines, the first with the names of the columns."""
    return {
        section.find('h2')[0].text: [
            [cell.text for cell in line.children] for line in section.find('tr') if line.children
        ]
        for section in page.find('section', 'table-section')
    }
