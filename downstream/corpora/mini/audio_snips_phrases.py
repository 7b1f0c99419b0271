"""What the small Audio SNIPS asks for: seven intents, ways to say each, and the values of the slots in them."""

INTENTS = {
    "AddToPlaylist": (
        "ADD {track} TO {playlist_owner} PLAYLIST {playlist}",
        "ADD THIS {music_item} BY {artist} TO {playlist}",
        "PUT {artist} ON {playlist_owner} {playlist} PLAYLIST",
        "PUT THE {music_item} {track} ON {playlist}",
    ),
    "BookRestaurant": (
        "BOOK A {restaurant_type} FOR {party_size_number} IN {city}",
        "BOOK A TABLE AT A {cuisine} {restaurant_type} {timeRange}",
        "FIND A {cuisine} {restaurant_type} IN {country} FOR {party_size_number}",
        "I WANT A TABLE FOR {party_size_number} IN {city} {timeRange}",
    ),
    "GetWeather": (
        "WILL IT BE {condition_description} IN {city} {timeRange}",
        "WHAT IS THE WEATHER IN {country} {timeRange}",
        "IS IT {condition_temperature} IN {city} {country}",
        "WHEN WILL IT BE {condition_temperature} AND {condition_description} IN {country}",
    ),
    "PlayMusic": (
        "PLAY {track} BY {artist}",
        "PLAY A {music_item} BY {artist} FOR ME",
        "I WANT THE {music_item} {track} ON {playlist_owner} {playlist}",
    ),
    "RateBook": (
        "RATE {object_name} {rating_value} OUT OF {best_rating} {rating_unit}",
        "GIVE {rating_value} {rating_unit} TO {object_name}",
        "GIVE THIS {object_type} {rating_value} OUT OF {best_rating}",
    ),
    "SearchCreativeWork": (
        "FIND THE {object_type} {object_name}",
        "SHOW ME A {object_type} BY {artist}",
        "I WANT THE {object_type} {object_name} FOR ME",
    ),
    "SearchScreeningEvent": (
        "WHEN IS {movie_name} AT THE {object_location_type} {timeRange}",
        "SHOW ME THE {object_location_type} FOR {movie_name} {timeRange}",
        "FIND {movie_name} IN {city}",
    ),
}

VALUES = {
    "artist": ("ANNA LEE", "THE RIVER BOYS", "OLD TOM"),
    "best_rating": ("SIX", "TEN"),
    "city": ("PARIS", "BOSTON", "LONDON"),
    "condition_description": ("WINDY", "FOGGY", "STORMY"),
    "condition_temperature": ("COLD", "WARM", "FREEZING"),
    "country": ("SPAIN", "CHINA", "INDIA"),
    "cuisine": ("GREEK", "THAI", "MEXICAN"),
    "movie_name": ("DARK WATER", "THE LONG NIGHT", "RED DESERT"),
    "music_item": ("SONG", "ALBUM", "TUNE"),
    "object_location_type": ("CINEMA", "THEATER"),
    "object_name": ("THE LAST TRAIN", "GREEN GARDEN", "WINTER QUEEN"),
    "object_type": ("NOVEL", "GAME", "SHOW"),
    "party_size_number": ("TWO", "SEVEN", "NINE"),
    "playlist": ("SUMMER JAZZ", "GOOD MORNING", "ROAD TRIP"),
    "playlist_owner": ("MY", "TOM'S", "ANNA'S"),
    "rating_unit": ("STARS", "POINTS"),
    "rating_value": ("ONE", "THREE", "FIVE"),
    "restaurant_type": ("RESTAURANT", "BAR", "PUB"),
    "timeRange": ("TOMORROW", "TONIGHT", "NEXT WEEK"),
    "track": ("SILVER MOON", "OPEN ROAD", "RAIN SONG"),
}
