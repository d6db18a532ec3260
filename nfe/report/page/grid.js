// Tables that are sorted by their headers. Only the first rows are in the document: it stays quick.
const PAGE = 100;
const collator = new Intl.Collator("en", { numeric: true });

/** Order two sort values; what is empty comes last whichever way. */
function order(a, b, sign) {
  if (a === "" || b === "") return (a === "") - (b === "");
  return sign * (typeof a === "number" && typeof b === "number" ? a - b : collator.compare(a, b));
}

/** Return a cell as a number, or as it is where it is none. */
function sortable(text) {
  return text !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
}

/** Return rows in the order of a column; equal ones stay in the tables' order. */
function sorted(rows, column, descending) {
  const sign = descending ? -1 : 1;
  return [...rows].sort((a, b) => order(column.value(a), column.value(b), sign));
}

/**
 * Fill a table.
 * @param columns {key, title, numeric, value(row), text(row), exact(row), mark(row)}: what sorts,
 *   what is shown, the cell of the CSV file, and where given the mark before it.
 * @param sort {key, descending}
 * @param choose called with a column whose header was pressed.
 * @param open where given: called with the row whose first cell was pressed.
 */
function fill(table, columns, rows, sort, choose, open, limit) {
  const head = columns.map((column) => {
    const active = column.key === sort.key;
    const mark = active ? (sort.descending ? " ▼" : " ▲") : "";
    return element(
      "th",
      {
        scope: "col", "data-key": column.key, class: column.numeric ? "number" : null,
        "aria-sort": active ? (sort.descending ? "descending" : "ascending") : null,
      },
      element("button", { type: "button", onclick: () => choose(column) }, column.title + mark),
    );
  });
  const body = rows.slice(0, limit).map((row) => {
    const cells = columns.map((column, place) => {
      const text = column.text(row);
      const attributes = { "data-key": column.key, "data-exact": column.exact(row) };
      if (place === 0 && open) {
        const button = element("button", { type: "button", onclick: () => open(row) }, text);
        if (column.mark) button.prepend(drawnMark(column.mark(row)));
        return element("th", { scope: "row", ...attributes }, button);
      }
      const kind = column.numeric ? "number" : text.length > 30 ? "wide" : null;
      return element("td", { class: kind, title: column.exact(row), ...attributes }, text);
    });
    return element("tr", {}, ...cells);
  });
  const focused = table.contains(document.activeElement)
    ? document.activeElement.closest("thead th")?.dataset.key
    : undefined;
  table.replaceChildren(
    element("thead", {}, element("tr", {}, ...head)),
    element("tbody", {}, ...body),
  );
  // The pressed header was replaced: the keyboard stays where it was.
  if (focused !== undefined) {
    [...table.tHead.rows[0].cells].find((c) => c.dataset.key === focused)?.firstChild.focus();
  }
}
