// A list that the server searches, filters, sorts and pages. `path` names the
// route; its `.csv` sibling gives the same rows as a file. With `url` the
// state is kept in the address, so that Back and a bookmark show the same.
satmachine.component('list', {
  props: {
    path: {type: String, required: true},
    label: {type: String, required: true},
    columns: {type: Array, required: true},
    filters: {type: Array, default: () => []},
    fixed: {type: Object, default: () => ({})},
    initialSort: {type: String, default: '-created_at'},
    timeField: {type: String, default: 'created_at'},
    rowKey: {type: String, default: 'id'},
    size: {type: Number, default: 15},
    csv: Boolean,
    url: Boolean,
    scoped: Boolean,
    opens: Boolean,
    // Rows are cards at every width: what is shown of one is no line of a table.
    cards: Boolean,
    // The columns whose sums are shown, with their words: [[name, label], ...]
    sums: {type: Array, default: null}
  },
  emits: ['open', 'loaded'],
  mixins: [satmachine.autoReload],
  data() {
    const asked = this.url ? this.$route.query : {}
    const {store} = satmachine
    if (asked.all && this.scoped && store.me.super) store.all = true
    const values = {from: asked.from || '', to: asked.to || ''}
    this.filters.forEach(({name, type, preset}) => {
      if (type !== 'range') values[name] = asked[name] || preset || null
    })
    return {
      rows: [],
      total: 0,
      totals: [],
      page: Number(asked.page) || 1,
      search: asked.q || '',
      sort: asked.sort || this.initialSort,
      values,
      open: false,
      busy: false
    }
  },
  computed: {
    pages() {
      return Math.max(1, Math.ceil(this.total / this.size))
    },
    isCards() {
      return this.cards || this.narrow
    },
    sortable() {
      return this.columns.filter(column => column.sortable)
    },
    sortOptions() {
      return this.sortable.flatMap(({name, label}) => [
        {label: `${label} ↓`, value: `-${name}`},
        {label: `${label} ↑`, value: name}
      ])
    },
    everywhere() {
      return this.scoped && this.me.super && this.store.all
    },
    // What narrows the list, as the API wants it.
    narrowing() {
      const params = {}
      if (this.search) params.search = this.search
      Object.entries(this.values).forEach(([name, value]) => {
        if (!value) return
        // days of the reader's zone, both included; a link may give a moment
        if (name === 'from') {
          params[`${this.timeField}[ge]`] = value
        } else if (name === 'to') {
          params[`${this.timeField}[le]`] = value
        } else if (value.includes(',')) {
          params[`${name}[in]`] = value
        } else {
          params[name] = value
        }
      })
      return params
    },
    narrowed() {
      return Object.keys(this.narrowing).length > 0
    },
    query() {
      return {
        ...this.fixed,
        ...this.narrowing,
        ...(this.everywhere ? {scope: 'all'} : {}),
        tz: this.store.zone,
        sortby: this.sort.replace(/^-/, ''),
        direction: this.sort.startsWith('-') ? 'desc' : 'asc'
      }
    },
    csvUrl() {
      return satmachine.api.url(`${this.path}.csv`, {
        ...this.query,
        ...satmachine.forPeople(this.$i18n.locale)
      })
    },
    active() {
      return Object.entries(this.values)
        .filter(([, value]) => value)
        .map(([name, value]) => ({name, text: this.filterText(name, value)}))
    },
    shownText() {
      const from = (this.page - 1) * this.size + 1
      return this.t('list.shown', {
        from: this.fmt.number(from),
        to: this.fmt.number(from + this.rows.length - 1),
        total: this.fmt.number(this.total)
      })
    }
  },
  watch: {
    // Back, a link and a click on the section's own name say what to show.
    '$route.query'(now) {
      if (!this.url || JSON.stringify(now) === this.written) return
      this.take(now)
      this.reload(true)
    },
    fixed: {
      deep: true,
      handler(now, before) {
        if (JSON.stringify(now) !== JSON.stringify(before)) this.firstPage()
      }
    }
  },
  methods: {
    async load(api) {
      this.busy = true
      try {
        const answer = await api.get(this.path, {
          ...this.query,
          ...(this.sums ? {totals: true} : {}),
          limit: this.size,
          offset: (this.page - 1) * this.size
        })
        return () => {
          this.rows = answer.data
          this.total = answer.total
          this.totals = answer.totals || []
          this.$emit('loaded', answer)
          // rows went away meanwhile: the last page that there is now
          if (this.page > this.pages) {
            this.page = this.pages
            this.moved()
          }
        }
      } finally {
        this.busy = false
      }
    },
    take(asked) {
      Object.keys(this.values).forEach(name => {
        this.values[name] = asked[name] || null
      })
      this.page = Number(asked.page) || 1
      this.search = asked.q || ''
      this.sort = asked.sort || this.initialSort
    },
    sumText(row) {
      return this.sums
        .map(([name, label]) => {
          const isSats = /sats/.test(name)
          const sum = isSats
            ? this.fmt.sats(row[name])
            : this.fmt.fiat(row[name], row.currency)
          return `${label}: ${sum}`
        })
        .join(' · ')
    },
    setTime(name, value) {
      this.values[name] = value
      this.firstPage()
    },
    // A link may ask for several values at once: they are one choice here.
    optionsOf(filter) {
      const value = this.values[filter.name]
      if (!value || filter.options.some(one => one.value === value)) {
        return filter.options
      }
      return [{value, label: this.valueText(filter, value)}, ...filter.options]
    },
    valueText({options}, value) {
      return value
        .split(',')
        .map(part => {
          const option = options.find(one => one.value === part)
          return option ? option.label : this.fmt.short(part)
        })
        .join(', ')
    },
    filterText(name, value) {
      if (name === 'from' || name === 'to') {
        const text = value.includes('T')
          ? this.fmt.time(value)
          : this.fmt.day(value)
        return `${this.t(`list.${name}`)} ${text}`
      }
      const filter = this.filters.find(one => one.name === name)
      return `${filter.label}: ${this.valueText(filter, value)}`
    },
    // A whole card opens, but for what on it does something of its own, and for who
    // marks its text.
    openCard({target}, row) {
      const isOwn = target.closest('a, button, input, summary, [role=button]')
      if (this.opens && !isOwn && !String(window.getSelection())) {
        this.$emit('open', row)
      }
    },
    cell(column, row) {
      const value = row[column.name]
      return column.format ? column.format(value, row) : (value ?? '–')
    },
    ariaSort({name, sortable}) {
      if (!sortable) return null
      if (this.sort === name) return 'ascending'
      return this.sort === `-${name}` ? 'descending' : 'none'
    },
    sortIcon({name}) {
      if (this.sort === name) return 'arrow_upward'
      return this.sort === `-${name}` ? 'arrow_downward' : 'unfold_more'
    },
    sortBy({name}) {
      this.sort = this.sort === `-${name}` ? name : `-${name}`
      this.firstPage()
    },
    firstPage() {
      this.page = 1
      this.moved()
    },
    turn(step) {
      this.page += step
      this.moved()
    },
    drop(name) {
      this.values[name] = null
      this.firstPage()
    },
    clear() {
      Object.keys(this.values).forEach(name => (this.values[name] = null))
      this.search = ''
      this.firstPage()
    },
    moved() {
      this.remember()
      this.reload(this.rows.length > 0)
    },
    remember() {
      if (!this.url) return
      const query = {...this.values, q: this.search}
      if (this.page > 1) query.page = String(this.page)
      if (this.sort !== this.initialSort) query.sort = this.sort
      if (this.everywhere) query.all = '1'
      const {show, days} = this.$route.query
      Object.assign(query, {show, days})
      Object.keys(query).forEach(name => query[name] || delete query[name])
      this.written = JSON.stringify(query)
      this.$router.replace({query})
    }
  }
})
