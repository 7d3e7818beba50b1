// Figures of one kind: a sentence that says what they show, their chart (or the slot), the
// same as a table, and as CSV. A row has a text for each column's name; `to`, `notes`
// and `links` may have more for some of them.
satmachine.component('figures', {
  props: {
    title: {type: String, required: true},
    sentence: {type: String, default: ''},
    columns: {type: Array, default: () => []},
    rows: {type: Array, required: true},
    // of `satm-chart`, which says the same sentence
    chart: {type: Object, default: null},
    csv: {type: String, required: true},
    file: {type: String, required: true}
  }
})
