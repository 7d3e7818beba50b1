// LNbits' themes choose the primary colour; this chooses black or white text
// on it, whichever is easier to read.
;(() => {
  function luminance(colour) {
    const {r, g, b} = Quasar.colors.textToRgb(colour)
    const [red, green, blue] = [r, g, b].map(part => {
      const share = part / 255
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4
    })
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
  }

  function apply() {
    const primary = getComputedStyle(document.body)
      .getPropertyValue('--q-primary')
      .trim()
    const light = luminance(primary)
    const white = 1.05 / (light + 0.05)
    const black = (light + 0.05) / 0.05
    document.documentElement.style.setProperty(
      '--satm-on-primary',
      white >= black ? '#fff' : '#000'
    )
  }

  new MutationObserver(apply).observe(document.body, {
    attributes: true,
    attributeFilter: ['data-theme', 'class']
  })
  apply()
})()
